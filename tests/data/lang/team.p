; Three agents, each a loop.
# A comment, too.

@imports/review.p

agent-builder:
	task -> plan -> draft (write) -> loop(build)

agent-bugfixer:
	loop(fix)

agent-release_Manager:
	notes -> map(changes, describe) -> all (map(items, review)) -> publish (loop(release))

plan(task):
	# Plan
	Plan [task] in small steps.

	; this line is dropped
	- one
	  - indented, with trailing blanks  
		- a second tab stays

write(plan):
	Write what "[plan]" says, C:\path.

build:
	Take the next item.
fix:
	Fix a bug -> then stop.
describe:
	Describe it: @AGENTS.md holds the rules.
release:
	Release.

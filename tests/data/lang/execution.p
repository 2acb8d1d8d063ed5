plan(task):
	Plan [task].

Some text @plan(x, k=v) and more
  @plan the rest of the line
@plan
@AGENTS.md is text, bob@example.org too
@pla(typo)

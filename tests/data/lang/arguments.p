agent-ralph(todo, depth):
	todo -> conversational -> loop(listify)

agent-prompt:
	Just a prompt.
	Two lines.

@agent-ralph(a todo list app (small, fast), depth = 2 = two)
@agent-prompt

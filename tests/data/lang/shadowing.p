@imports/base/methods.p

agent-one:
	loop(critic)

critic:
	The earlier one.

critic:
	The later one wins, over the import too.

conversational:
	Over the standard library.

agent-one:
	loop(conversational)

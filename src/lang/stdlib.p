; The standard library. It is read before every program; a method of the same name replaces one of these.

conversational:
	Answer the way people talk: at most three short sentences, light in tone.
	Leave out lists, tables, code and long quotations unless they were asked for.

listify(n):
	Turn the text above into a numbered list of exactly [n] items.
	Each item stands on its own and is understood without the others.
	Write the list and nothing else.

agent-outer:
	task -> inner -> agent-helper -> loop(again)

agent-helper(task):
	task -> leaf

inner(task):
	task -> leaf -> deeper (deepest)

deepest:
	task -> listify

leaf:
	Leaf.

again:
	Again.

unreached:
	No agent reaches this.

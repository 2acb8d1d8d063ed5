@imports/left.p
@imports/right.p

agent-d:
	x -> left -> right -> base

base:
	own

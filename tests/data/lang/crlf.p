agent-x:
	loop(m)

m:
	one

	two


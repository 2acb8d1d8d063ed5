@cycle_c.p

b:
	x

@base/shared.p

right:
	x -> base

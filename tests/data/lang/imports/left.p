@base/shared.p

left:
	x -> base

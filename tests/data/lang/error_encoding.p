m:
	good
	bad ÿ here

n:
	x -> nope
Ã(

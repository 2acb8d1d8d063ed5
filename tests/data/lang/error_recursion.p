agent-a:
	x -> one

one:
	x -> two -> loop(three)

two:
	x -> three

three:
	x -> one

self:
	loop(self)

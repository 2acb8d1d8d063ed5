agent-a:
	input -> loop(m) -> m

agent-b:
	loop(m) and then stop

agent-c:
	map(items, m) -> loop(m)

agent-d:
	loop(m) -> m

agent-e:
	map(items)

agent-f:
	loop(m)
	more text

agent-g:
	漢字 -> m -> reveiw -> lop (m) -> loop(nothing-like-it)

m:
	x

review:
	x

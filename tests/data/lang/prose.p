a:
	Convert x -> y, please.

b:
	task -> plan(planner) -> done

c:
	task
	-> a
	-> b

d:
	word

e:
	a->b

agent-My_Agent:
	x

agent-my-agent:
	y

agent-:
	z

agent-größe:
	z

agent-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:
	z

agent-args(one):
	z

@agent-args(a, b)
@agent-args(two=2)
@agent-args(a, one=2)
@agent-args(a
@agent-my-agent(x)
@agent-arg(x)
@agent-args trailing

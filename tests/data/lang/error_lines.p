	a line before any header

m:
	body
  a line with spaces
	more

my method(x):
	this was meant as a body

unclosed(a, b:
	body

name(a b):
	body

Please note:
this is text

empty:

other(a, a):
	x
@go
	after an execution line
	and one more
unclosed(a, b
	body
last:

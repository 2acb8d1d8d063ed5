x:
  spaces

y:
	in -> nowhere

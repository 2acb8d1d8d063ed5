; nothing
  # here
	; at all

base:
	shared

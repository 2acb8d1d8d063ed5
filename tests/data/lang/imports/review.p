@base/methods.p

review(items):
	items -> critic -> summarize

summarize:
	Sum up.

This text is dropped.

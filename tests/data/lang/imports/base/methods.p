critic:
	Be critical.

agent-watcher:
	loop(critic)

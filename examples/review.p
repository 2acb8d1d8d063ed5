; One run over a code base: find the parts, review each of them in parallel, write one report, stop.
; Start it with:  gcluster apply -f examples/review.p
; The parameter is bound by the last line; change it there.

agent-reviewer(scope):
	scope -> parts -> findings (map(parts, review)) -> report

parts:
	List the parts of the code base that belong to: [scope].
	Write a numbered list, one part per item: its folder or files and, in one sentence, what it is for.
	At most eight items. Write the list and nothing else.

review:
	Review the part of the code base that is named above and nothing else. Read all of it first.

	Report at most five findings, the worst first, each with file and line, what goes wrong for whom, and how
	you know. Run what you can run to be sure. A finding that you could not confirm is marked as a guess.
	No praise, no style remarks that a formatter would make.

report:
	The text above holds the reviews of all parts. Merge them into one report: the ten findings that matter
	most, the worst first, without repetitions. Write it to REVIEW.md and commit that file alone.

@agent-reviewer(error handling and input validation)

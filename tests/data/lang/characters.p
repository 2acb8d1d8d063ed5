m:
	a b ​ 🦀  "q" \ é

né漢(pär):
	[pär]

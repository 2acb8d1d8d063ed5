

m:

	first

	  
	second
		

; comment

	third



n:
	x

@./cycle_a.p

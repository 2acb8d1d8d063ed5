@cycle_b.p

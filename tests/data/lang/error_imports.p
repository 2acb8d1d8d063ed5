@imports/cycle_a.p
@imports/missing.p and @no/such.p
@error_imports.p
@imports/broken.p

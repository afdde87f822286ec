# Cython finds the package here also when perdure itself is not installed.

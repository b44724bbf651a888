"""How symmetric a game is, told in closed form, by enumeration, from its kernels or from its trajectories."""

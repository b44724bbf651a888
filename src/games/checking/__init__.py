"""The single checks behind ``check_game``: of sizes, of laws, of constants and of conduct."""

"""What the system tests share: real processes, a real PostgreSQL, real HTTP."""

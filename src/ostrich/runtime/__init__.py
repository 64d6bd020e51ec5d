"""What a long computation needs: whole files, locks, deadlines, interrupts, and a way to go on after a cut.

Imports nothing of Ostrich but its errors.
"""

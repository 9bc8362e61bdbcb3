"""What neurons do: their effect on predictions, entropy and attention, and what repeats them (UN section 5, appendix C)."""

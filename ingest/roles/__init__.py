"""What neurons do: their effect on predictions, on entropy, on attention, and what repeats them (UN section 5 and appendix C)."""

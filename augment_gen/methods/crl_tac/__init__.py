"""CRL-TAC (Koyama, Minami, Miyato, Gal)."""

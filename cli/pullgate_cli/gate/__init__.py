"""`pullgate gate` and `pullgate image`: can these images be pulled, as the vendor or as a customer?"""

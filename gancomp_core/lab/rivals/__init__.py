"""What a practitioner would try first: free forms of a teacher, and rivals that are trained as long as our student."""

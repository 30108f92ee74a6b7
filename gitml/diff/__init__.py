"""What differs between records, as data; rendering is for others."""

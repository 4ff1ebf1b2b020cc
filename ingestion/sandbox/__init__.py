"""Vendor APIs as real local HTTP servers, serving datasets in each vendor's true shape and manners."""

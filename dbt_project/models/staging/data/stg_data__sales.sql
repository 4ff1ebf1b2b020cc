{{ mapped_rows('sale', renamed={'tax': 'mapped_tax'}) }}

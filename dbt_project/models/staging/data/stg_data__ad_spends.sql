{{ mapped_rows('ad_spend') }}

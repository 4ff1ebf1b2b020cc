"""What runs when: the cycle, the dbt workers, and Dagster over them."""

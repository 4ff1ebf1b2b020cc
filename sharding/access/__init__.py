"""Who may do what on a shard: roles of Larder's own parts, businesses' read roles, schemas that a business may write."""

"""Who may do what on a shard: roles of Larder's own parts, businesses' read roles, schemas a business may write."""

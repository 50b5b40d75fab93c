"""What alerts need of the metadata database: where rules and alerts are kept, and what the newest runs came to."""

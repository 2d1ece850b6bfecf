-- A row a pool that the calling worker serves: number, name, generation.
SELECT number, name, generation FROM holdfast.worker_pools()

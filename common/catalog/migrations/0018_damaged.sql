-- Status asks every two seconds whether a pack is known to be damaged; hardly ever one is.
CREATE INDEX pack_damaged ON pack(repository) WHERE damaged_at IS NOT NULL;

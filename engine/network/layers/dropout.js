LAYERS.dropout = IDENTITY; // it does nothing once training is over

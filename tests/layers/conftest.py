"""Its place lets the tests of the folders below import `partial_conv_oracle`: pytest adds it to the path."""

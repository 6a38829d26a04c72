"""The page: Streamlit, over HTTP to the server, over files to the runs."""

import "../shared/base.css"

const attempt = (what, action) => {
    try { const result = action(); console.log("ESCAPED", what, result); }
    catch (error) { console.log("held", what, error.code ?? error.message); }
};

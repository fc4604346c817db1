//! The interpreter that this library was loaded into, and objects of it. All of it happens on the
//! one thread that there is when the library is called, which holds the interpreter's lock.

use std::ffi::{CStr, CString, c_int, c_ulong, c_void};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, null_mut};

use crate::functions::{
    CompilerFlags, Constants, Functions, Missing, Pointer, leave_recursive_call,
};

/// `Py_file_input`: a whole file is compiled.
const FILE_INPUT: c_int = 257;
/// `Py_PRINT_RAW`: as `str` has it, not `repr`.
const RAW: c_int = 1;
/// `Py_TPFLAGS_LONG_SUBCLASS`.
const IS_INTEGER: c_ulong = 1 << 24;
/// `Py_TPFLAGS_BASE_EXC_SUBCLASS`.
const IS_EXCEPTION: c_ulong = 1 << 30;

/// The interpreter of this process.
#[derive(Debug)]
pub(crate) struct Interpreter {
    c: Functions,
    constants: Constants,
}

/// A reference to an object, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    python: &'a Interpreter,
    pointer: NonNull<c_void>,
}

/// An error that was raised and is being dealt with. It is let go of in the order of the fields.
#[derive(Debug)]
pub(crate) struct Raised<'a> {
    kind: Option<Object<'a>>,
    /// None if only the type was raised, or what it is to be made of if C code raised it.
    pub(crate) value: Option<Object<'a>>,
    traceback: Option<Object<'a>>,
}

impl Interpreter {
    pub(crate) fn find() -> Result<Self, Missing> {
        Ok(Self { c: Functions::find()?, constants: Constants::find()? })
    }

    /// What a function of C returned for us to keep; null is none.
    fn owned(&self, pointer: Pointer) -> Option<Object<'_>> {
        NonNull::new(pointer).map(|pointer| Object { python: self, pointer })
    }

    /// A reference of our own to what somebody else keeps; null is none.
    pub(crate) fn shared(&self, pointer: Pointer) -> Option<Object<'_>> {
        let object = self.owned(pointer)?;
        // SAFETY: it is an object that somebody has a reference to while we are called.
        unsafe { (self.c.Py_IncRef)(pointer) };
        Some(object)
    }

    pub(crate) fn none(&self) -> Option<Object<'_>> {
        self.shared(self.constants.none)
    }

    pub(crate) fn text(&self, text: &str) -> Option<Object<'_>> {
        let length = isize::try_from(text.len()).ok()?;
        // SAFETY: so many bytes stand there.
        self.owned(unsafe { (self.c.PyUnicode_FromStringAndSize)(text.as_ptr().cast(), length) })
    }

    pub(crate) fn integer(&self, number: i32) -> Option<Object<'_>> {
        // SAFETY: no preconditions.
        self.owned(unsafe { (self.c.PyLong_FromLong)(number.into()) })
    }

    /// What `sys` has under this name.
    pub(crate) fn system(&self, name: &CStr) -> Option<Object<'_>> {
        // SAFETY: the name is a C string.
        self.shared(unsafe { (self.c.PySys_GetObject)(name.as_ptr()) })
    }

    /// Puts `value`, or `None`, into `sys`.
    pub(crate) fn set_system(&self, name: &CStr, value: Option<&Object<'_>>) {
        let value = value.map_or(self.constants.none, Object::as_ptr);
        // SAFETY: the name is a C string, and the value an object; it takes a reference of its own.
        if unsafe { (self.c.PySys_SetObject)(name.as_ptr(), value) } != 0 {
            self.clear_error();
        }
    }

    pub(crate) fn collect_garbage(&self) {
        // SAFETY: the interpreter is up, and its lock held.
        unsafe { (self.c.PyGC_Collect)() };
    }

    /// Runs a script whose names are `names`. None if it raised an error; outside, if it could
    /// not be opened.
    pub(crate) fn run_file(
        &self,
        path: &CStr,
        names: &Object<'_>,
    ) -> io::Result<Option<Object<'_>>> {
        // SAFETY: both are C strings; `e` keeps the descriptor from what is executed.
        let file = unsafe { libc::fopen(path.as_ptr(), c"rbe".as_ptr()) };
        if file.is_null() {
            return Err(io::Error::last_os_error());
        }
        let names = names.as_ptr();
        let mut flags = CompilerFlags { flags: 0, minor_version: self.minor_version() };
        let run = self.c.PyRun_FileExFlags;
        // SAFETY: file, path and flags outlive the call, which closes the file, as the 1 says;
        // `names` is a dictionary.
        let result =
            unsafe { run(file, path.as_ptr(), FILE_INPUT, names, names, 1, &raw mut flags) };
        Ok(self.owned(result))
    }

    /// The second number of the version.
    pub(crate) fn minor_version(&self) -> c_int {
        // SAFETY: no preconditions.
        let version = unsafe { (self.c.Py_GetVersion)() };
        // SAFETY: it is a C string that lives as long as this process.
        let version = unsafe { CStr::from_ptr(version) }.to_string_lossy();
        version.split('.').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0)
    }

    /// Ends the interpreter. Returns whether the standard streams took all that was written.
    pub(crate) fn finalize(&self) -> bool {
        // SAFETY: nothing of the interpreter's is used afterwards: the callers exit.
        unsafe { (self.c.Py_FinalizeEx)() == 0 }
    }

    pub(crate) fn before_fork(&self) {
        // SAFETY: the lock is held.
        unsafe { (self.c.PyOS_BeforeFork)() };
    }

    pub(crate) fn after_fork_in_parent(&self) {
        // SAFETY: `before_fork` was called, and then a fork tried.
        unsafe { (self.c.PyOS_AfterFork_Parent)() };
    }

    /// Also gives back the level of recursion that the call of this library took.
    pub(crate) fn after_fork_in_child(&self) {
        // SAFETY: `before_fork` was called in the process that this was forked from.
        unsafe { (self.c.PyOS_AfterFork_Child)() };
        self.leave_recursive_call();
    }

    /// The interpreter counted a level of recursion when it called this library, and a program
    /// begins with none. That call never returns, so nobody else gives the level back.
    fn leave_recursive_call(&self) {
        if let Some(leave) = leave_recursive_call() {
            // SAFETY: one level at least was entered.
            return unsafe { leave() };
        }
        // SAFETY: the lock is held, so there is a state.
        let state = unsafe { (self.c.PyThreadState_Get)() };
        // SAFETY: only 3.8 has no such function, and its `PyThreadState` has four pointers and
        // then the depth; that version gets no changes any more.
        let depth = unsafe { state.cast::<Pointer>().add(4) }.cast::<c_int>();
        // SAFETY: as above.
        if unsafe { depth.read() } == 1 {
            // SAFETY: as above; nobody else writes while we hold the lock.
            unsafe { depth.write(0) };
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        // SAFETY: no preconditions.
        unsafe { !(self.c.PyErr_Occurred)().is_null() }
    }

    pub(crate) fn is_exit_raised(&self) -> bool {
        // SAFETY: an error is raised, say the callers, and `system_exit` is a type.
        unsafe { (self.c.PyErr_ExceptionMatches)(self.constants.system_exit) != 0 }
    }

    /// Whether exactly `KeyboardInterrupt` is raised, no type that is made of it.
    pub(crate) fn is_interrupt_raised(&self) -> bool {
        // SAFETY: no preconditions; the type is compared, not used.
        unsafe { (self.c.PyErr_Occurred)() == self.constants.keyboard_interrupt }
    }

    /// Takes the error that is raised.
    pub(crate) fn take_error(&self) -> Raised<'_> {
        let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
        // SAFETY: three places for what is ours from then on.
        unsafe { (self.c.PyErr_Fetch)(&raw mut kind, &raw mut value, &raw mut traceback) };
        Raised {
            kind: self.owned(kind),
            value: self.owned(value),
            traceback: self.owned(traceback),
        }
    }

    pub(crate) fn clear_error(&self) {
        // SAFETY: the lock is held.
        unsafe { (self.c.PyErr_Clear)() };
    }

    /// Shows the error that is raised, as an uncaught one.
    pub(crate) fn print_error(&self) {
        // SAFETY: an error is raised, say the callers.
        unsafe { (self.c.PyErr_Print)() };
    }

    /// Writes to the interpreter's standard error, or else to that of C.
    pub(crate) fn tell(&self, text: &str) {
        let stream = self.system(c"stderr").filter(|it| !it.is_none());
        let (Ok(line), Some(stream)) = (CString::new(text), stream) else {
            return tell_plainly(text);
        };
        // SAFETY: a C string and an object.
        if unsafe { (self.c.PyFile_WriteString)(line.as_ptr(), stream.as_ptr()) } != 0 {
            self.clear_error();
            tell_plainly(text);
        }
    }

    /// Writes an object as text, to the standard error of C if `stream` is none. An error is left
    /// raised.
    pub(crate) fn write(&self, object: &Object<'_>, stream: Option<&Object<'_>>) {
        match stream {
            // SAFETY: both are objects.
            Some(it) => unsafe { (self.c.PyFile_WriteObject)(object.as_ptr(), it.as_ptr(), RAW) },
            // SAFETY: an object, and a stream that is open for ever.
            None => unsafe { (self.c.PyObject_Print)(object.as_ptr(), self.constants.stderr, RAW) },
        };
    }
}

impl Raised<'_> {
    /// Raises it again, if there was an error.
    pub(crate) fn raise_again(self) {
        let Some(python) = self.kind.as_ref().map(|it| it.python) else { return };
        let [kind, value, traceback] = [self.kind, self.value, self.traceback].map(Object::give);
        // SAFETY: three objects or nulls, our references to which are taken over.
        unsafe { (python.c.PyErr_Restore)(kind, value, traceback) };
    }
}

impl<'a> Object<'a> {
    /// Gives the reference away, to somebody who takes null for none.
    fn give(object: Option<Self>) -> Pointer {
        object.map_or(null_mut(), |it| ManuallyDrop::new(it).as_ptr())
    }

    fn as_ptr(&self) -> Pointer {
        self.pointer.as_ptr()
    }

    pub(crate) fn is_none(&self) -> bool {
        self.as_ptr() == self.python.constants.none
    }

    pub(crate) fn attribute(&self, name: &CStr) -> Option<Object<'a>> {
        // SAFETY: an object and a C string.
        let found = unsafe { (self.python.c.PyObject_GetAttrString)(self.as_ptr(), name.as_ptr()) };
        self.python.owned(found)
    }

    /// Calls it; none if that raised an error.
    pub(crate) fn call(&self, arguments: &[&Object<'_>]) -> Option<Object<'a>> {
        let c = &self.python.c;
        let length = isize::try_from(arguments.len()).ok()?;
        // SAFETY: no preconditions.
        let tuple = self.python.owned(unsafe { (c.PyTuple_New)(length) })?;
        for (index, argument) in (0..length).zip(arguments) {
            // SAFETY: an object; the tuple takes over this reference to it.
            unsafe { (c.Py_IncRef)(argument.as_ptr()) };
            // SAFETY: the tuple is new, ours alone, and long enough.
            unsafe { (c.PyTuple_SetItem)(tuple.as_ptr(), index, argument.as_ptr()) };
        }
        // SAFETY: two objects, the second a tuple; null stands for no named arguments.
        let result = unsafe { (c.PyObject_Call)(self.as_ptr(), tuple.as_ptr(), null_mut()) };
        self.python.owned(result)
    }

    /// Calls a method; none if that raised an error.
    pub(crate) fn call_method(&self, name: &CStr, arguments: &[&Object<'_>]) -> Option<Object<'a>> {
        self.attribute(name)?.call(arguments)
    }

    /// Whether it counts as true; no if it cannot be told.
    pub(crate) fn is_true(&self) -> bool {
        // SAFETY: an object.
        let truth = unsafe { (self.python.c.PyObject_IsTrue)(self.as_ptr()) };
        if truth < 0 {
            self.python.clear_error();
        }
        truth > 0
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.type_flags() & IS_INTEGER != 0
    }

    pub(crate) fn is_exception(&self) -> bool {
        self.type_flags() & IS_EXCEPTION != 0
    }

    fn type_flags(&self) -> c_ulong {
        let c = &self.python.c;
        // SAFETY: an object.
        let kind = self.python.owned(unsafe { (c.PyObject_Type)(self.as_ptr()) });
        // SAFETY: it is a type.
        kind.map_or(0, |it| unsafe { (c.PyType_GetFlags)(it.as_ptr()) })
    }

    /// An integer, cut to the width of an exit code as C does; -1 and an error if it is too large.
    pub(crate) fn as_exit_code(&self) -> i32 {
        // SAFETY: an object.
        let number = unsafe { (self.python.c.PyLong_AsLong)(self.as_ptr()) };
        #[expect(clippy::cast_possible_truncation, reason = "the interpreter does the same")]
        let code = number as i32;
        code
    }

    /// The items of a list; none of what is no list.
    pub(crate) fn items(&self) -> Vec<Object<'a>> {
        let c = &self.python.c;
        // SAFETY: an object; what is no list has the size -1.
        let size = unsafe { (c.PyList_Size)(self.as_ptr()) };
        // SAFETY: the list is that long.
        (0..size)
            .filter_map(|it| self.python.shared(unsafe { (c.PyList_GetItem)(self.as_ptr(), it) }))
            .collect()
    }

    /// A copy of the bytes of `bytes`, which have no NUL.
    pub(crate) fn bytes(&self) -> Option<CString> {
        // SAFETY: an object; what is no `bytes` gives null.
        let text = unsafe { (self.python.c.PyBytes_AsString)(self.as_ptr()) };
        // SAFETY: it is a C string that lives as long as the object.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
    }

    /// A copy of a text.
    pub(crate) fn as_text(&self) -> Option<String> {
        let mut length = 0;
        let read = self.python.c.PyUnicode_AsUTF8AndSize;
        // SAFETY: an object; what is no text gives null.
        let text = NonNull::new(unsafe { read(self.as_ptr(), &raw mut length) }.cast_mut())?;
        let length = usize::try_from(length).ok()?;
        // SAFETY: so many bytes stand there, as long as the object lives.
        let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), length) };
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// The two items of a tuple.
    pub(crate) fn pair(&self) -> Option<[Object<'a>; 2]> {
        let item = |index| {
            // SAFETY: an object; what is no tuple, or too short, gives null.
            self.python.shared(unsafe { (self.python.c.PyTuple_GetItem)(self.as_ptr(), index) })
        };
        Some([item(0)?, item(1)?])
    }

    /// One more reference to the same object.
    pub(crate) fn share(&self) -> Option<Object<'a>> {
        self.python.shared(self.as_ptr())
    }

    /// Sets what a dictionary has under `key` to `None`.
    pub(crate) fn set_none(&self, key: &Object<'_>) {
        let c = &self.python.c;
        let none = self.python.constants.none;
        // SAFETY: three objects; what is no dictionary is refused.
        if unsafe { (c.PyDict_SetItem)(self.as_ptr(), key.as_ptr(), none) } != 0 {
            self.python.clear_error();
        }
    }

    /// Removes a key of a dictionary, if it is there.
    pub(crate) fn remove(&self, key: &CStr) {
        // SAFETY: an object and a C string; what is no dictionary is refused.
        if unsafe { (self.python.c.PyDict_DelItemString)(self.as_ptr(), key.as_ptr()) } != 0 {
            self.python.clear_error();
        }
    }
}

/// Writes to standard error, which nobody else may hear of if it fails.
pub(crate) fn tell_plainly(text: &str) {
    let _told = io::stderr().write_all(text.as_bytes());
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and given back once.
        unsafe { (self.python.c.Py_DecRef)(self.as_ptr()) };
    }
}

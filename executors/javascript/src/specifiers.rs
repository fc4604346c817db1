//! Changes to a TypeScript tree before it is transformed: what imports say, and the line ends of
//! template literals (see [`crate::lines`]).

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, CallExpression, ExportAllDeclaration, ExportFromDeclaration, Expression,
    ImportDeclaration, ImportExpression, NewExpression, Program, StringLiteral,
    TSExternalModuleReference, TemplateElement,
};
use oxc_ast_visit::{VisitMut, walk_mut};

use crate::lines::TEMPLATE_LINE_END;
use crate::names::Names;

/// Makes the changes to the file at `path`.
pub(crate) fn adapt<'a>(
    program: &mut Program<'a>,
    allocator: &'a Allocator,
    path: &str,
    names: &Names,
) {
    Adapter { allocator, path, names }.visit_program(program);
}

struct Adapter<'a, 'n> {
    allocator: &'a Allocator,
    path: &'n str,
    names: &'n Names,
}

impl<'a> Adapter<'a, '_> {
    fn rename(&self, literal: &mut StringLiteral<'a>) {
        if let Some(name) = self.names.resolve(self.path, literal.value.as_str()) {
            literal.value = self.allocator.alloc_str(&name).into();
            literal.raw = None;
        }
    }

    fn rename_first(&self, arguments: &mut [Argument<'a>]) {
        if let Some(Argument::StringLiteral(literal)) = arguments.first_mut() {
            self.rename(literal);
        }
    }
}

impl<'a> VisitMut<'a> for Adapter<'a, '_> {
    fn visit_import_declaration(&mut self, it: &mut ImportDeclaration<'a>) {
        self.rename(&mut it.source);
        walk_mut::walk_import_declaration(self, it);
    }

    fn visit_export_from_declaration(&mut self, it: &mut ExportFromDeclaration<'a>) {
        self.rename(&mut it.source);
        walk_mut::walk_export_from_declaration(self, it);
    }

    fn visit_export_all_declaration(&mut self, it: &mut ExportAllDeclaration<'a>) {
        self.rename(&mut it.source);
        walk_mut::walk_export_all_declaration(self, it);
    }

    fn visit_ts_external_module_reference(&mut self, it: &mut TSExternalModuleReference<'a>) {
        self.rename(&mut it.expression);
        walk_mut::walk_ts_external_module_reference(self, it);
    }

    fn visit_import_expression(&mut self, it: &mut ImportExpression<'a>) {
        if let Expression::StringLiteral(literal) = &mut it.source {
            self.rename(literal);
        }
        walk_mut::walk_import_expression(self, it);
    }

    fn visit_call_expression(&mut self, it: &mut CallExpression<'a>) {
        let is_load = match &it.callee {
            Expression::Identifier(name) => matches!(name.name.as_str(), "require" | "fork"),
            _ => it.callee.is_specific_member_access("require", "resolve"),
        };
        if is_load {
            self.rename_first(&mut it.arguments);
        }
        walk_mut::walk_call_expression(self, it);
    }

    fn visit_new_expression(&mut self, it: &mut NewExpression<'a>) {
        let is_load = matches!(
            &it.callee,
            Expression::Identifier(name) if matches!(name.name.as_str(), "Worker" | "URL")
        );
        if is_load {
            self.rename_first(&mut it.arguments);
        }
        walk_mut::walk_new_expression(self, it);
    }

    fn visit_template_element(&mut self, it: &mut TemplateElement<'a>) {
        if it.value.raw.contains('\n') {
            let raw = it.value.raw.replace('\n', TEMPLATE_LINE_END);
            it.value.raw = self.allocator.alloc_str(&raw).into();
        }
    }
}
